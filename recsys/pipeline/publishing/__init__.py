"""Published nights: the stage `publish`, their cards and reports, retention, roll-back."""
