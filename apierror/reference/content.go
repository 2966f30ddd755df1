package reference

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/seawall-go/seawall/apierror"
)

// The texts that the page and the Markdown share. Their only markup is Markdown's code spans.
const (
	aboutStatuses = "The API uses conventional HTTP statuses to indicate the outcome of a request. Statuses in the 2xx range mean success, 4xx statuses signal a problem with the request, and 5xx statuses indicate a rare error on our side."
	aboutObject   = "Every failed request returns a JSON body with an error object. The `type` groups errors into broad categories, while the `code` identifies the specific problem. Ignore members that you do not know."
	aboutHandling = "Inspect the status first, then branch on the code. The examples use the files with typed errors. Each file needs only the standard library of its language."
)

var aboutRetries = []string{
	"If you exceed a rate limit, you receive a 429 with a `Retry-After` header. Retry 429 and 5xx responses, except 501, with exponential backoff. Attach an `Idempotency-Key` to writes, so that retries never duplicate work.",
	"Never retry a 4xx other than 429 without changing the request: the result will be the same.",
	"Log the `request_id` of every error, so that support can trace any issue quickly.",
}

// retryHeaders are the header fields that retries depend on.
var retryHeaders = []struct{ Name, Meaning string }{
	{"Retry-After", "On a response: the seconds to wait before a retry."},
	{"X-Should-Retry", "On a response: if it is `false`, do not retry, whatever the status is."},
	{"Idempotency-Key", "On a request: a unique value for each write. All attempts of one write have the same key."},
	{"Request-Id", "On every response: the id of the request."},
}

// member describes a member of the error object.
type member struct {
	Name     string
	Required bool
	Meaning  string
}

// members has all members, in the order in which the renderer sends them.
var members = []member{
	{"type", true, "The broad category of the error."},
	{"code", true, "The specific problem. Branch on it."},
	{"message", true, "An explanation for the developer of the client. Its wording may change."},
	{"param", false, "The parameter at fault, as the client spells it, such as `items[1].price`, or the name of a header. It is absent if no single parameter is at fault."},
	{"request_id", true, "The id of the request. Give it to support. It is also in the `Request-Id` header."},
	{"doc_url", false, "A link to the description of the code, if the service has one."},
	{"errors", false, "All parameters at fault, if there are several, as objects with `code`, `param` and `message`. The first one is also in `param`."},
	{"metadata", false, "Additional information about the error. All values are strings."},
}

// specExample is the specification's example of the error object.
const specExample = `{
  "error": {
    "type": "invalid_request_error",
    "code": "parameter_missing",
    "message": "Missing required parameter: name.",
    "param": "name",
    "request_id": "` + exampleRequestID + `"
  }
}`

// meaning returns the description of a code, or else its message.
func meaning(d apierror.Definition) string {
	if d.Description != "" {
		return d.Description
	}
	return line(d.Message)
}

// explanation returns the texts that say what a code means and what to do about it.
func explanation(d apierror.Definition) string {
	return strings.TrimSpace(meaning(d) + " " + d.Resolution)
}

// statusText returns a status with its name, if it has one.
func statusText(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}
