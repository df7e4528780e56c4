"""The mixed load: clients of all kinds, on upstreams that restart, every byte checked.

python -m bench.soak.traffic JOB

`tests/network/mixed_load` has the requests, the clients and the upstreams. Every exchange has its
own key, from which all its bytes are derived, so that bytes of another exchange are detected.
"""

import asyncio
from random import Random

from bench.soak.jobs import Job, Report, in_background, keep_reporting, print_report, run_job
from bench.soak.restarts import RestartingWorld, keep_restarting
from tests.helpers.wire import closed_port
from tests.network.mixed_load.client import Client
from tests.network.mixed_load.world import World


def report_of(world: World) -> Report:
    """Return the counts and problems of a world as JSON data."""
    return {
        "done": dict(world.done),
        "problem_count": world.problem_count,
        "problems": world.problems,
    }


async def work(job: Job) -> None:
    """Run the clients, each with one request after the other."""
    with closed_port() as closed:
        world = RestartingWorld(job.proxy, job.ports, closed, job.first)
        upstreams = [
            keep_restarting(world, port, Random(f"{job.seed} {port}")) for port in job.ports
        ]
        reporting = keep_reporting(lambda: report_of(world), job.every)
        until = asyncio.get_running_loop().time() + job.seconds
        async with in_background(*upstreams, reporting):
            clients = (Client(world, number, job.seed) for number in range(job.count))
            await asyncio.gather(*(client.run(until) for client in clients))
    print_report(report_of(world) | {"over": True})


if __name__ == "__main__":
    run_job(work)
