package reference

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/seawall-go/seawall/apierror"
)

// The places of components in an OpenAPI document.
const (
	schemasAt  = "#/components/schemas/"
	headersAt  = "#/components/headers/"
	examplesAt = "#/components/examples/"
)

const openAPIDescription = `The schemas and responses of an API's errors. Refer to them in the API's own document:

    "responses": {
      "404": {"$ref": "errors.openapi.json#/components/responses/Error404"},
      "default": {"$ref": "errors.openapi.json#/components/responses/Error"}
    }
`

// openAPI returns an OpenAPI document (3.1) that has components only: the error object, and a
// response for each status.
func (r *Reference) openAPI() []byte {
	responses := object{{"Error", response("The request failed.", 0, r.defs)}}
	for _, s := range r.statuses() {
		if len(s.Codes) > 0 {
			name := fmt.Sprintf("Error%d", s.Status)
			responses = append(responses, property{name, response(s.Meaning, s.Status, r.definitionsWith(s.Status))})
		}
	}
	examples := object{}
	for _, d := range r.defs {
		examples = append(examples, property{string(d.Code), object{
			{"description", strings.TrimSpace(markdownText(meaning(d)) + " " + markdownText(d.Resolution))},
			{"value", json.RawMessage(r.exampleBody(d))},
		}})
	}
	return indented(object{
		{"openapi", "3.1.0"},
		{"info", object{
			{"title", r.title},
			{"description", openAPIDescription},
			{"version", "1.0.0"},
		}},
		{"paths", object{}}, // OpenAPI 3.0 requires it, and so do some tools
		{"components", object{
			{"schemas", object{
				{"ErrorResponse", envelope(schemasAt)},
				{"ErrorObject", errorObject(schemasAt, ref(schemasAt+"ErrorType"), ref(schemasAt+"ErrorCode"))},
				{"ErrorType", openEnum("A category of errors:", typesOf(errorTypes), func(i int) string { return errorTypes[i].Meaning })},
				{"ErrorCode", openEnum("A specific problem:", codesOf(r.defs), func(i int) string { return markdownText(meaning(r.defs[i])) })},
				{"ParameterError", parameterError()},
			}},
			{"responses", responses},
			{"headers", responseHeaders},
			{"examples", examples},
		}},
	})
}

// openEnum returns the schema of a string that is usually one of values. meaning returns the
// Markdown for one of them.
func openEnum[S ~string](title string, values []S, meaning func(i int) string) object {
	var list strings.Builder
	for i, v := range values {
		fmt.Fprintf(&list, "- `%s`: %s\n", v, meaning(i))
	}
	return object{
		{"description", title + "\n\n" + list.String() + "\nOthers may be added."},
		{"type", "string"},
		{"x-extensible-enum", values},
	}
}

// response returns the response with a status, and its examples. The status 0 stands for any
// status.
func response(meaning string, status int, defs []apierror.Definition) object {
	var headers, examples object
	for _, h := range responseHeaders {
		if sendsHeader(h.name, status, defs) {
			headers = append(headers, property{h.name, ref(headersAt + h.name)})
		}
	}
	for _, d := range defs {
		examples = append(examples, property{string(d.Code), ref(examplesAt + string(d.Code))})
	}
	return object{
		{"description", meaning},
		{"headers", headers},
		{"content", object{{"application/json", object{
			{"schema", ref(schemasAt + "ErrorResponse")},
			{"examples", examples},
		}}}},
	}
}

// responseHeaders are the headers of errors: see docs/WIRE.md.
var responseHeaders = object{
	header("Request-Id", "The id of the request. Give it to support.", true, "string"),
	header("X-Request-Id", "The same as `Request-Id`.", true, "string"),
	header("X-Should-Retry", "If it is `false`, do not retry, whatever the status is. It is never `true`.", false, "boolean"),
	header("Retry-After", "The seconds to wait before a retry.", false, "integer"),
	header("WWW-Authenticate", "How to authenticate.", true, "string"),
	header("Allow", "The methods that the resource supports.", true, "string"),
}

func header(name, description string, required bool, typ string) property {
	return property{name, object{
		{"description", description},
		{"required", required},
		{"schema", object{{"type", typ}}},
	}}
}

// sendsHeader reports whether responses with a status may have a header. The status 0 stands for
// any status.
func sendsHeader(name string, status int, defs []apierror.Definition) bool {
	switch name {
	case "WWW-Authenticate":
		return status == http.StatusUnauthorized
	case "Allow":
		return status == http.StatusMethodNotAllowed
	case "Retry-After":
		return slices.ContainsFunc(defs, apierror.Definition.Retryable)
	default:
		return true
	}
}
