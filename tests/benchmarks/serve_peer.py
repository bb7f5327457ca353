"""The peer of the live service: the same model behind plain FastAPI and uvicorn, one process, each request by itself.

    python serve_peer.py CONFIG PORT

It loads the published night as the service does and answers with the same function; what it lacks is what is measured:
batches, a queue with an end, and a process for the model alone.
"""

import datetime as dt
import sys

import uvicorn
from fastapi import FastAPI

from jobs.serve import load_live
from recsys.serving.contracts import RecommendationRequest, Recommendations
from recsys.settings import load_config
from recsys.storage.filesystem import Storage
from recsys.storage.publish import require_latest


def main(path: str, port: int) -> None:
    storage = Storage(load_config(path).storage)
    live = load_live(storage, require_latest(storage))
    api = FastAPI()

    @api.post("/v1/recommendations")
    def recommend(body: RecommendationRequest) -> Recommendations:
        return live.answer([body], dt.datetime.now(dt.UTC))[0]

    @api.get("/readyz")
    def readyz() -> dict[str, bool]:
        return {"ready": True}

    uvicorn.run(api, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
