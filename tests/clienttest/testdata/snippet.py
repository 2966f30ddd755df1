from docsapi import InvalidRequestError

try:
    client.resources.create(name="")
except InvalidRequestError as err:
    if err.code == "parameter_missing":
        print(f"Missing: {err.param}")
