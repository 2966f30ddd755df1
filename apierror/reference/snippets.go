package reference

import "strings"

// snippet shows how a client handles errors in one language.
type snippet struct {
	ID       string // for HTML ids and Markdown fences
	Language string // for people
	Code     string
}

// snippets returns the snippets for the files of this reference.
func (r *Reference) snippets() []snippet {
	return []snippet{
		{"go", "Go", strings.ReplaceAll(goSnippet, "apierrors", r.goPackage)},
		{"javascript", "JavaScript", javaScriptSnippet},
		{"python", "Python", pythonSnippet},
	}
}

const goSnippet = `resp, err := http.DefaultClient.Do(req)
if err != nil {
	return err
}
defer resp.Body.Close()

err = apierrors.ParseError(resp) // nil for a status under 400
var invalid *apierrors.InvalidRequestError
switch {
case errors.As(err, &invalid) && invalid.Code == apierrors.CodeParameterMissing:
	log.Printf("Missing: %s", invalid.Param)
case err != nil:
	return err // its text has the request id
}
`

const javaScriptSnippet = `import { throwIfError } from "./errors.js";

const response = await fetch(url, { method: "POST", body });
try {
  await throwIfError(response); // does nothing for a status under 400
} catch (err) {
  if (err.code === "parameter_missing") {
    console.error(` + "`Missing: ${err.param}`" + `);
  } else {
    throw err; // its text has the request id
  }
}
`

const pythonSnippet = `from errors import InvalidRequestError, raise_if_error

try:
    raise_if_error(response.status, response.headers, response.read())
except InvalidRequestError as err:
    if err.code == "parameter_missing":
        print(f"Missing: {err.param}")
    else:
        raise  # its text has the request id
`
