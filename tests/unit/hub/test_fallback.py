import pytest

from genai_pipeline.core.errors import HubUnavailable, RepositoryNotFound, RevisionNotFound
from genai_pipeline.gateways.hub.fallback import FallbackHub
from tests.fakes.world import FakeHub


class Missing(FakeHub):
    def resolve(self, repository, ref):
        raise RepositoryNotFound(f"No {repository} here.")

    def snapshot(self, repository, revision):
        raise RepositoryNotFound(f"No {repository} here.")

    def read(self, repository, *args):
        raise RepositoryNotFound(f"No {repository} here.")
        yield b""


@pytest.fixture
def public():
    hub = FakeHub()
    hub.publish("public")
    return hub


def test_what_the_first_hub_holds_is_never_asked_of_the_second(public):
    own = FakeHub()
    revision = own.publish("own")
    public.down = True

    hub = FallbackHub(own, public)

    assert hub.resolve("a/b", "main") == revision
    assert hub.snapshot("a/b", revision).revision == revision
    assert b"".join(hub.read("a/b", revision, "config.json")) == b"{}"


def test_another_repository_comes_from_the_second_hub(public):
    hub = FallbackHub(Missing(), public)

    revision = hub.resolve("a/b", "main")

    assert hub.snapshot("a/b", revision).revision == revision
    assert b"".join(hub.read("a/b", revision, "config.json")) == b"{}"


def test_an_unknown_ref_of_the_first_hub_is_not_looked_for_elsewhere(public):
    with pytest.raises(RevisionNotFound):
        FallbackHub(FakeHub(), public).resolve("a/b", "main")


def test_where_the_second_hub_is_down_both_are_named(public):
    public.down = True

    with pytest.raises(HubUnavailable, match=r"No a/b here.*public hub.*did not answer"):
        FallbackHub(Missing(), public).resolve("a/b", "main")
