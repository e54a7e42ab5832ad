"""Running experiments: data, labels, training, evaluation."""
