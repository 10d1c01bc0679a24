"""What several chapters compute: of the study, of why, beside the published figures."""
