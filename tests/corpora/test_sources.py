from __future__ import annotations

from types import SimpleNamespace

import datasets
import huggingface_hub
import pytest

from harness.corpora.door import DataDoor, DoorSettings
from harness.errors import DataNotAllowed


class FakeHub:
    """Answers for the hub: `main` stands for one commit, and only that commit can be streamed."""

    commit = "0123456789abcdef"

    def __init__(self):
        self.asked = []

    def dataset_info(self, hub_id, *, revision, timeout):
        assert hub_id
        assert revision != self.commit
        assert timeout > 0
        return SimpleNamespace(sha=self.commit)

    def load_dataset(self, hub_id, config, *, revision, split, streaming):
        assert streaming
        self.asked.append((hub_id, config, revision, split))
        return ({"text": f"{split} {number}", "instruction": f"q{number}", "output": "a"} for number in range(100))


@pytest.fixture
def hub(monkeypatch):
    fake = FakeHub()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fake)
    monkeypatch.setattr(datasets, "load_dataset", fake.load_dataset)
    return fake


class TestHubSource:
    def test_streams_the_commit_that_the_revision_stands_for(self, hub, rules):
        """The resolved commit is what is read and what the ledger says."""
        door = DataDoor(DoorSettings(rules=rules, embedded_allowed=False))
        for split in ("train", "validation"):
            assert next(door.open("c4", split=split)).text == f"{split} 0"
        assert hub.asked == [("allenai/c4", "en", hub.commit, split) for split in ("train", "validation")]
        assert {(entry.origin, entry.revision) for entry in door.ledger().entries} == {("hub", hub.commit)}

    def test_a_data_set_without_a_validation_split_is_parted_by_text(self, hub, rules):
        """Alpaca's train split is all there is; one row in 32 is held out of it."""
        door = DataDoor(DoorSettings(rules=rules))
        train = [sample.prompt for sample in door.open("alpaca-zh")]
        validation = [sample.prompt for sample in door.open("alpaca-zh", split="validation")]
        assert {split for *_, split in hub.asked} == {"train"}
        assert sorted(train + validation) == sorted(f"q{number}" for number in range(100))
        assert len(train) > len(validation)

    def test_no_hub_says_what_to_give_instead(self, monkeypatch, rules):
        """The message names the option that helps; nothing waits for a network that is not there."""

        def unreachable(*args, **kwargs):
            raise OSError("no route to host\nand a second line")

        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(dataset_info=unreachable))
        with pytest.raises(DataNotAllowed, match="no route to host; give a local copy with --data alpaca-zh=PATH"):
            DataDoor(DoorSettings(rules=rules)).open("alpaca-zh")
