"""What each worker runs that trains a smaller text encoder; texts that it does not learn from measure it."""

import numpy as np
import torch

from recsys.model.catalog_encoder import CatalogEncoder
from recsys.model.text_encoder import TextEncoder
from recsys.pipeline.encoders.distill_entry import DistillFit
from recsys.pipeline.encoders.encoder_worker import EncoderWorker
from recsys.pipeline.encoders.lessons import read_lessons
from recsys.pipeline.training.checkpoint_store import CheckpointStore
from recsys.pipeline.training.worker_process import worker_process
from recsys.training.distill import Student, agreement
from recsys.training.refresh import encode_rows

#: The figure of a check that decides which state is kept.
AGREEMENT = "agreement"


def learn(fit: DistillFit, rank: int, checkpoints: CheckpointStore) -> None:
    """Train until all steps are done, see `EncoderWorker.learn`; ``rank`` is the number of this worker, from 0."""
    with worker_process(fit, rank) as tell:
        _Worker(fit, rank).learn(fit.name, checkpoints, tell)


class _Worker(EncoderWorker):
    """The engine, and the texts with the teacher's vectors."""

    decides = AGREEMENT

    def __init__(self, fit: DistillFit, rank: int) -> None:
        config = fit.run.config
        spec, self.batch_size = config.encoder, config.compress.batch_size
        lessons = read_lessons(fit.run.storage, fit.lessons_path)
        self.teacher = torch.from_numpy(lessons.vectors)
        self.held_out = torch.from_numpy(np.flatnonzero(lessons.held_out))
        self.learned = np.flatnonzero(~lessons.held_out)
        with fit.run.storage.local_folder(fit.start_path) as folder:
            start = TextEncoder.load(str(folder), max_tokens=spec.max_tokens)
            encoder = CatalogEncoder(start, lessons.texts, spec.batch_size, None)
        super().__init__(
            config,
            rank,
            Student(encoder, config.train.precision),
            steps=config.compress.steps,
            checks=config.compress.checks,
            rows=self.batch_size,
            rate=config.compress.learning_rate,
        )

    def draw(self, random: np.random.Generator) -> dict[str, torch.Tensor]:
        """Texts, and the teacher's vectors of them."""
        rows = torch.from_numpy(random.choice(self.learned, self.batch_size))
        return {"rows": rows, "teacher": self.teacher[rows]}

    def measure(self) -> dict[str, float]:
        """How far the held-out texts are as similar to each other as the teacher sees them."""
        vectors = encode_rows(self.engine, self.encoder, self.held_out).cpu().numpy()
        return {AGREEMENT: agreement(vectors, self.teacher[self.held_out].numpy())}
