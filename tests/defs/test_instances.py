import dagster as dg

from tests.defs.instances import empty_instance


def test_what_a_test_left_in_an_instance_is_gone_when_it_is_lent_again():
    with empty_instance() as used:
        used.add_dynamic_partitions("releases", ["a"])
        used.add_run(dg.DagsterRun("job"))

    with empty_instance() as again:
        assert again is used
        assert again.get_dynamic_partitions("releases") == []
        assert again.get_runs() == []
