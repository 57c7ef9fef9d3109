"""The argv of the local profile's S3."""

import json

from genai_pipeline.local.s3_server import s3_command


def inner_ports(folder):
    return json.loads((folder / "s3" / "ports.json").read_text())


def test_the_same_home_gives_the_same_command(tmp_path):
    assert s3_command(tmp_path, 20001, "key", "secret") == s3_command(tmp_path, 20001, "key", "secret")


def test_an_inner_port_that_is_promised_to_another_service_is_given_up(tmp_path):
    s3_command(tmp_path, 20001, "key", "secret")
    promised = set(inner_ports(tmp_path).values())

    s3_command(tmp_path, 20001, "key", "secret", promised=promised)

    assert promised.isdisjoint(inner_ports(tmp_path).values())
