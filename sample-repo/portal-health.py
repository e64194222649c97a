"""Health check of the portal on this node: portal-health.py FOLDER, where FOLDER/NODE holds its port.

syncsrv gives a check the name of its node in NODE; so one cluster.yaml serves nodes that differ.
"""

import http.client
import os
import sys
from pathlib import Path

port = int(Path(sys.argv[1], os.environ["NODE"]).read_text())
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
try:
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
except OSError as error:
    sys.exit(f"the portal on port {port} does not answer: {error}")
if answer.status != http.HTTPStatus.OK:
    sys.exit(f"the portal on port {port} answers {answer.status} {answer.reason}")
