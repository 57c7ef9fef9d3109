"""The permissions that the docs list, and those that the code needs: nothing missing, nothing to spare."""

import pytest

from tests.unit.aws.aws_calls import CLIENTS, PACKAGE, modules_of, modules_with_clients, needed_actions, operations_of
from tests.unit.aws.documented_permissions import documented


@pytest.mark.parametrize("account", CLIENTS)
def test_the_docs_list_what_the_code_needs_and_no_more(account):
    assert documented()[account] == needed_actions(account)


def test_no_other_module_has_a_client_of_aws():
    names_of_errors_only = PACKAGE / "agent/models/completion_failures.py"
    tries_what_others_may = PACKAGE / "cli/probe/in_pod.py"
    known = {m for account in CLIENTS for m in modules_of(account)}

    assert modules_with_clients() <= known | {names_of_errors_only, tries_what_others_may}


def test_every_way_to_send_a_request_is_seen(tmp_path):
    module = tmp_path / "client.py"
    module.write_text(
        "s3.boto3.head_object(Key='k')\n"
        "self._s3.get_paginator('list_parts').paginate()\n"
        "self._client.sender.put('UploadPart', key)\n"
        "unrelated.put('x')\n"
    )

    assert set(operations_of(module)) == {"HeadObject", "ListParts", "UploadPart"}
