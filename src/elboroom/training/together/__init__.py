"""Several trainings of one composition, their steps taken as one batched step."""
