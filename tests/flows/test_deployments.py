"""The launch form in Prefect's pages comes from the protocol's launch fields."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from stage import PROTOCOL

from flows.client import Prefect
from flows.deployments import launch_schema
from flows.lock import VARIABLE
from protocols.parsing import parse

ROOT = Path(__file__).parents[2]


def test_the_form_offers_the_sites_the_people_and_the_protocol_s_own_fields() -> None:
    fields = """launch:
  - {id: planned_start, type: date, label: {fr: Début prévu, en: Planned start}, required: true}
  - {id: grant, type: number, min: 0, max: 300000, unit: EUR, label: {fr: Subvention, en: Grant}}
  - {id: arm, type: choice, options: [control, device], label: {fr: Bras, en: Arm}}
  - {id: wards, type: choices, options: [surgery, geriatrics], label: {fr: Services, en: Wards}}
"""
    before, after = PROTOCOL.split("launch:\n")[0], PROTOCOL.split("steps:\n", 1)[1]
    protocol = parse(f"{before}{fields}steps:\n{after}", "").protocol
    schema = launch_schema(protocol, {"CAEN": "CHU Caen"}, {"manager": "Marie Petit"}, "fr")
    assert schema["required"] == ["sites", "launched_by", "launch"]
    assert schema["properties"]["sites"]["items"] == {"type": "string", "enum": ["CAEN"]}
    assert schema["properties"]["launched_by"]["enum"] == ["manager"]
    launch = schema["properties"]["launch"]
    assert launch["required"] == ["planned_start"]
    assert launch["properties"] == {
        "planned_start": {"title": "Début prévu", "type": "string", "format": "date", "position": 0},
        "grant": {"title": "Subvention (EUR)", "type": "number", "minimum": 0, "maximum": 300000, "position": 1},
        "arm": {"title": "Bras", "type": "string", "enum": ["control", "device"], "position": 2},
        "wards": {
            "title": "Services",
            "type": "array",
            "uniqueItems": True,
            "items": {"type": "string", "enum": ["surgery", "geriatrics"]},
            "position": 3,
        },
    }
    assert "code" not in schema["properties"]


def test_prefect_yaml_deploys_on_both_pools(prefect_server: str, tmp_path: Path) -> None:
    prefect = Prefect(prefect_server)
    for name, type_ in (("insitu", "insitu"), ("insitu-process", "process")):
        if prefect.request("GET", f"work_pools/{name}") is None:
            prefect.request("POST", "work_pools/", {"name": name, "type": type_, "base_job_template": {}})
    opened = {VARIABLE: os.environ[VARIABLE]}
    environment = opened | {"PREFECT_API_URL": prefect_server, "PREFECT_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "DO_NOT_TRACK": "1"}
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(ROOT / "prefect.yaml")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    for flow in ("experiment", "site_track"):
        for pool in ("insitu", "insitu-process"):
            deployment = prefect.request("GET", f"deployments/name/{flow}/{pool}")
            assert (deployment["work_pool_name"], deployment["entrypoint"]) == (pool, f"flows.{flow}:{flow}")
    prefect.close()
