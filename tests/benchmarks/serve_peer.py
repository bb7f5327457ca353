"""The peer of the live service: the same model behind plain FastAPI and uvicorn, in one process.

    python serve_peer.py CONFIG PORT

It loads the published night and answers with the same function as the service, one request at a time. It has no
batches, no bounded queue and no separate process for the model. The benchmark measures what these bring.
"""

import datetime as dt
import sys

import uvicorn
from fastapi import FastAPI

from jobs.start_service import load_live
from recsys.serving.contracts import RecommendationRequest, Recommendations
from recsys.settings import load_config
from recsys.storage.filesystem import Storage
from recsys.storage.latest import require_latest


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
