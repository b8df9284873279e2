"""Names of models lead to recipes; what a job kept is found again."""

import json

import pytest

from tfadv.reproduction.studies import weight_decay_jobs as wd


def test_the_recipes_are_those_of_the_paper():
    """Section 3: Adam for 10,000 steps from the expert start with L2 0.05, and 50,000 from scratch; section 4.2."""
    jobs = {job.key: job.settings for job in wd.jobs("paper", dict.fromkeys(wd._MODELS, wd.FIRST))}
    expert = jobs["Expert-L2, seed 0"]
    assert (expert["start"], expert["l2"], expert["steps"]) == ("expert", 0.05, [0, 10_000])
    assert jobs["L1 15, seed 0"]["l1"] == 15
    assert (jobs["L1 3.25, seed 0"]["l1"], jobs["L2 3.25, seed 0"]["l2"]) == (3.25, 3.25)
    assert jobs["FGSM 0.25, seed 0"]["steps"] == [10_000, 50_000]
    assert jobs["Fast grad L2 0.25, seed 0"]["scale"] == 100
    assert jobs["FGSM 0.5, seed 0"]["epsilon"] == 0.5
    assert {settings["dataset"] for settings in jobs.values()} == {"mnist_3v7"}
    json.dumps(list(jobs.values()))


def test_variants_are_seeds_and_the_window_and_one_recipe_is_one_job():
    seeds = {job.key: job.settings for job in wd.jobs("paper", {wd.EXPERT: wd.ALL})}
    assert [(each["batches"], each["seed"]) for each in seeds.values()] == [("all", 0), ("all", 1), ("window", 0)]
    again = wd.jobs("short", {wd.EXPERT: wd.ALL})
    assert [job.identity for job in again] == [job.identity for job in wd.jobs("paper", {wd.EXPERT: wd.ALL})]


def test_what_a_job_kept_is_found_or_missing():
    results = {"Expert-L2, seed 0": {"kept": [{"step": 0}, {"step": 20}]}}
    assert wd.kept(results, wd.EXPERT) == {"step": 20}
    assert wd.kept(results, wd.EXPERT, "seed 0", 0) == {"step": 0}
    assert wd.kept(results, wd.EXPERT, "window") is None
    with pytest.raises(KeyError):
        wd.jobs("paper", {"no such model": wd.FIRST})
