"""What a search leaves on disk: the record of a training, the journal, the run folder."""
