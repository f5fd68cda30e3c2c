"""`python -m pbs_cloud.cli`."""

from pbs_cloud.cli.entry import main

main()
