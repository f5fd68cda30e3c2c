"""`python -m pbs_cloud.server`."""

from pbs_cloud.server.main import app

app(prog_name="pbs-cloud")
