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
    "calendar.v3": "calendarList.list events.list events.watch channels.stop",
    "admin.directory_v1": "users.list users.get",
}
# Types that no property names, because the documents call those properties "any".
SCHEMAS = {"admin.directory_v1": "UserEmail UserOrganization UserRelation UserPhone UserLocation"}


def methods(node):
    for resource in node.get("resources", {}).values():
        yield from methods(resource)
    yield from node.get("methods", {}).values()


def shape(property, place, inline):
    """The schema that a property holds, or its bare type. A schema without a name is called after its place."""
    if "$ref" in property:
        return property["$ref"]
    if "items" in property:
        return shape(property["items"], place, inline)
    if "properties" in property:
        inline[place] = property
        return place
    return property["type"]


def extract(document, wanted, more):
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
    known, schemas = dict(document["schemas"]), {}
    open_names = more + [m[key] for m in used.values() for key in ("request", "response") if m[key]]
    while open_names:
        name = open_names.pop()
        if name not in schemas:
            properties = sorted(known[name].get("properties", {}).items())
            schemas[name] = {key: shape(value, f"{name}.{key}", known) for key, value in properties}
            open_names += [kind for kind in schemas[name].values() if kind in known]
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
    facts = extract(document, set(wanted.split()), SCHEMAS.get(name, "").split())
    (here / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
