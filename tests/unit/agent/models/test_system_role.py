"""Requests that are under way when the first refusal comes are sent again too."""

from genai_pipeline.agent.models.system_role import SystemRole

ASKED = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]


def test_two_requests_that_were_sent_at_once_are_both_sent_again():
    role = SystemRole()
    first, second = role.messages(ASKED), role.messages(ASKED)

    assert role.is_refused(400, "System role not supported", first)
    assert role.is_refused(400, "System role not supported", second)
    assert role.messages(ASKED) == [{"role": "user", "content": "Be kind.\n\nHi"}]


def test_what_was_sent_without_a_system_role_is_not_sent_again():
    role = SystemRole()
    role.is_refused(400, "System role not supported", role.messages(ASKED))

    assert not role.is_refused(400, "System role not supported", role.messages(ASKED))
