"""Replay virtual days: `python -m tests.virtual SEED [SEED ...] [--hours 2] [--site|--disk]`; `--to N` runs a range."""

import argparse
import logging
import time

import structlog

from tests.virtual.judging import judge, judge_disk


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.virtual")
    parser.add_argument("seeds", type=int, nargs="+")
    parser.add_argument("--to", type=int, help="run all seeds from the first one to this one")
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--site", action="store_true", help="with faults of devices and agent, too")
    parser.add_argument("--disk", action="store_true", help="with faults of the gateway's disk")
    parser.add_argument("--talk", action="store_true", help="show what agent and cloud log")
    chosen = parser.parse_args()
    if not chosen.talk:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    for seed in range(chosen.seeds[0], chosen.to + 1) if chosen.to else chosen.seeds:
        began = time.perf_counter()
        found = judge_disk(seed, chosen.hours) if chosen.disk else judge(seed, chosen.hours, of_site=chosen.site)
        print(found, f"({time.perf_counter() - began:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
