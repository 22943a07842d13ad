"""Dotted paths in plain nested dicts and lists: what a Message is compared with."""

import copy
import re


def place(node, path, make=False):
    """The dict or list that holds the last part of a path, and that part as its key or index; else a LookupError."""
    *way, last = path.split(".")
    for part in way:
        node = node.setdefault(part, {}) if make and isinstance(node, dict) else node[as_key(node, part)]
    return node, as_key(node, last)


def as_key(node, part):
    if isinstance(node, dict):
        return part
    if isinstance(node, list) and re.fullmatch("-?[0-9]+", part):
        return int(part)
    raise LookupError(part)


def get(tree, path):
    node, key = place(tree, path)
    return node[key]


def put(tree, path, value):
    """Makes the dicts that are missing."""
    node, key = place(tree, path, make=True)
    node[key] = copy.deepcopy(value)


def delete(tree, path):
    node, key = place(tree, path)
    del node[key]
