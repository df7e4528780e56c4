"""The mixed load: clients of all kinds, on upstreams that restart, every byte checked.

python -m bench.soak.traffic JOB

`tests/network/mixed_load` has the requests, the clients and the upstreams. Every exchange has a key
of its own, from which all its bytes derive, so that those which end up elsewhere show.
"""

import asyncio
from random import Random

from bench.soak.jobs import Job, Told, in_background, keep_telling, run_job, say
from bench.soak.restarts import RestartingWorld, keep_restarting
from tests.helpers.wire import closed_port
from tests.network.mixed_load.client import Client
from tests.network.mixed_load.world import World


def told(world: World) -> Told:
    """Return what there is to tell."""
    return {
        "done": dict(world.done),
        "problem_count": world.problem_count,
        "problems": world.problems,
    }


async def work(job: Job) -> None:
    """Have so many clients ask one thing after the other."""
    with closed_port() as closed:
        world = RestartingWorld(job.proxy, job.ports, closed, job.first)
        upstreams = [
            keep_restarting(world, port, Random(f"{job.seed} {port}")) for port in job.ports
        ]
        telling = keep_telling(lambda: told(world), job.every)
        until = asyncio.get_running_loop().time() + job.seconds
        async with in_background(*upstreams, telling):
            clients = (Client(world, number, job.seed) for number in range(job.count))
            await asyncio.gather(*(client.run(until) for client in clients))
    say(told(world) | {"over": True})


if __name__ == "__main__":
    run_job(work)
