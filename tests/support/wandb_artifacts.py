"""What the stand-in for W&B's server knows of artifacts, in which W&B keeps tables: made, filled, then committed."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote


@dataclass(kw_only=True)
class StubArtifact:
    """One artifact. Until it is committed nobody would see it."""

    id: str
    client_id: str
    name: str
    kind: str
    run: str
    manifest: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    """Contents by the path at which the manifest may name them."""
    committed: bool = False

    def lacking(self) -> list[str]:
        """Files of the manifest that did not arrive whole."""
        contents = self.manifest.get("contents", {})
        return [path for path, entry in contents.items() if _digest(self.files.get(path)) != entry["digest"]]


class StubArtifacts:
    """Answers GraphQL operations on artifacts, and takes the files that they ask for."""

    def __init__(self) -> None:
        self.made: list[StubArtifact] = []

    def answer(self, name: str, variables: dict[str, Any], host: str) -> dict[str, Any] | None:
        """The answer to an operation; None where it is not one on artifacts."""
        match name:
            case "ArtifactType" | "FetchArtifactDigestAlgorithm":
                return {"project": {"artifact": None, "artifactType": None}}
            case "CreateArtifact":
                return {"createArtifact": {"artifact": self._create(variables["input"])}}
            case "CreateArtifactManifest":
                return {"createArtifactManifest": {"artifactManifest": _manifest(variables["artifactID"], host)}}
            case "UpdateArtifactManifest":
                return {
                    "updateArtifactManifest": {"artifactManifest": _manifest(variables["artifactManifestID"], host)}
                }
            case "CreateArtifactFiles":
                asked = variables["input"]["artifactFiles"]
                edges = [{"node": _file(one["artifactID"], one["name"], host)} for one in asked]
                return {"createArtifactFiles": {"files": {"edges": edges}}}
            case "CommitArtifact":
                artifact = self._by_id(variables["artifactID"])
                if lacking := artifact.lacking():
                    raise ValueError(f"{artifact.name} is committed without {lacking}")
                artifact.committed = True
                return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": "digest"}}}
            case "ArtifactByID":
                artifact = self._by_id(variables["id"])
                versions = [one for one in self.made if one.name == artifact.name and one.committed]
                return {"artifact": _described(artifact, versions.index(artifact))}
        return None

    def take(self, path: str, content: bytes) -> None:
        """A file that is put to `/artifact/ID/manifest` or `/artifact/ID/file/PATH`."""
        _, _, id, kind, *name = path.split("/", 4)
        artifact = self._by_id(id)
        if kind == "manifest":
            artifact.manifest = json.loads(content)
        else:
            artifact.files[unquote(name[0])] = content

    def table(self, logged: dict[str, Any]) -> dict[str, Any]:
        """The table behind a value of a run's history: found as W&B's page finds it, by the artifact that it names."""
        client_id, _, path = logged["artifact_path"].removeprefix("wandb-client-artifact://").partition("/")
        (artifact,) = (one for one in self.made if one.client_id == client_id and one.committed)
        return json.loads(artifact.files[path])

    def _create(self, asked: dict[str, Any]) -> dict[str, Any]:
        artifact = StubArtifact(
            id=f"artifact{len(self.made)}",
            client_id=asked["clientID"],
            name=asked["artifactCollectionName"],
            kind=asked["artifactTypeName"],
            run=asked["runName"],
        )
        self.made.append(artifact)
        return {"id": artifact.id, "state": "PENDING", "artifactSequence": {"latestArtifact": None}}

    def _by_id(self, id: str) -> StubArtifact:
        (artifact,) = (one for one in self.made if one.id == id)
        return artifact


def _described(artifact: StubArtifact, version: int) -> dict[str, Any]:
    """What the server says of a version, its own date included."""
    project = {"id": "project", "internalId": "project", "name": "unsl", "entity": {"name": "tester"}}
    sequence = {"__typename": "ArtifactSequence", "name": artifact.name, "project": project}
    return {
        **{"__typename": "Artifact", "id": artifact.id, "artifactSequence": sequence, "versionIndex": version},
        **{"artifactType": {"name": artifact.kind}, "description": None, "metadata": "{}", "ttlDurationSeconds": -2},
        **{"ttlIsInherited": True, "tags": [], "historyStep": None, "state": "COMMITTED", "size": 0},
        **{"digest": hashlib.md5(json.dumps(artifact.manifest).encode()).hexdigest(), "commitHash": "commit"},
        **{"fileCount": len(artifact.files), "createdAt": "2026-11-22T10:00:00Z", "updatedAt": None, "aliases": []},
    }


def _manifest(id: str, host: str) -> dict[str, Any]:
    file = {"id": id, "uploadUrl": f"http://{host}/artifact/{id}/manifest", "uploadHeaders": []}
    return {"id": id, "file": file}


def _file(id: str, name: str, host: str) -> dict[str, Any]:
    return {
        **{"storagePath": f"stored/{name}", "uploadHeaders": [], "uploadMultipartUrls": None},
        **{"uploadUrl": f"http://{host}/artifact/{id}/file/{quote(name)}", "artifact": {"id": id}},
    }


def _digest(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(hashlib.md5(content).digest()).decode()
