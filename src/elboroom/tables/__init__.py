"""What one does with a model of a table: sample rows on condition, and fill missing cells."""
