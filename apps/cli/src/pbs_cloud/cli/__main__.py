"""`python -m pbs_cloud.cli`."""

from pbs_cloud.cli.main import main

main()
