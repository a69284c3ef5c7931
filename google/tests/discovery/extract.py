#!/usr/bin/env python3
"""Extracts the facts that tests/it/contract.rs needs from Google's discovery documents. Usage: see README.md here."""

import json
import pathlib
import sys

METHODS = {
    "gmail.v1": """users.getProfile users.watch users.stop users.labels.list users.labels.get users.history.list
        users.messages.list users.messages.get users.threads.get""",
    "pubsub.v1": """projects.topics.create projects.topics.get projects.topics.publish projects.topics.getIamPolicy
        projects.topics.setIamPolicy projects.subscriptions.create projects.subscriptions.get projects.subscriptions.pull
        projects.subscriptions.acknowledge projects.subscriptions.modifyAckDeadline""",
}


def methods(node):
    for resource in node.get("resources", {}).values():
        yield from methods(resource)
    yield from node.get("methods", {}).values()


def shape(property):
    """The schema that a property holds, or its bare type."""
    if "$ref" in property:
        return property["$ref"]
    return shape(property["items"]) if "items" in property else property["type"]


def extract(document, wanted):
    used = {}
    for method in methods(document):
        if method["id"].partition(".")[2] in wanted:
            used[method["id"]] = {
                "httpMethod": method["httpMethod"],
                "path": method["path"],
                "parameters": sorted(method.get("parameters", {})),
                "request": method.get("request", {}).get("$ref"),
                "response": method.get("response", {}).get("$ref"),
                "scopes": sorted(method["scopes"]),
            }
    schemas, open_names = {}, [m[key] for m in used.values() for key in ("request", "response") if m[key]]
    while open_names:
        name = open_names.pop()
        if name not in schemas:
            properties = document["schemas"][name].get("properties", {})
            schemas[name] = {key: shape(value) for key, value in sorted(properties.items())}
            open_names += [kind for kind in schemas[name].values() if kind in document["schemas"]]
    return {
        "revision": document["revision"],
        "rootUrl": document["rootUrl"],
        "servicePath": document["servicePath"],
        "parameters": sorted(document["parameters"]),
        "methods": dict(sorted(used.items())),
        "schemas": dict(sorted(schemas.items())),
    }


source, here = pathlib.Path(sys.argv[1]), pathlib.Path(__file__).parent
for name, wanted in METHODS.items():
    document = json.loads((source / f"{name}.json").read_text())
    facts = extract(document, set(wanted.split()))
    (here / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
