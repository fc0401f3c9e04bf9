"""Where a job runs. An engine starts commands and watches them; it knows no algorithm and no record."""
