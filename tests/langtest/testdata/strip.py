"""Prints the syntax trees of Python files without their docstrings: strip.py FILE..."""

import ast
import json
import sys


def stripped(name):
    with open(name, "rb") as file:
        tree = ast.parse(file.read())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            node.body[0].value.value = ""
    return ast.dump(tree)


json.dump([stripped(name) for name in sys.argv[1:]], sys.stdout)
