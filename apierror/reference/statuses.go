package reference

import (
	"maps"
	"net/http"
	"slices"

	"github.com/seawall-go/seawall/apierror"
)

// statusMeanings describes the statuses of the specification and of the built-in catalog.
var statusMeanings = map[int]string{
	200: "The request succeeded.",
	201: "A new object was created.",
	400: "The request was malformed or missing a parameter.",
	401: "No valid API key was provided.",
	403: "The key lacks permission for this resource.",
	404: "The requested resource does not exist.",
	405: "The resource does not support the method.",
	409: "The request conflicts with the current state.",
	413: "The request body is too large.",
	415: "The request body is of a type that the resource does not read.",
	429: "Too many requests: you have hit the rate limit.",
	500: "Something went wrong on our side.",
	503: "The service is temporarily unavailable.",
	504: "The request took too long to process.",
}

// status describes an HTTP status.
type status struct {
	Status  int
	Name    string // empty if the status is not registered
	Meaning string
	Codes   []apierror.Code // the codes that are sent with it
}

// statuses returns 200, 201 and the statuses of the catalog, in ascending order.
func (r *Reference) statuses() (statuses []status) {
	codes := map[int][]apierror.Code{http.StatusOK: nil, http.StatusCreated: nil}
	for _, d := range r.defs {
		codes[d.Status] = append(codes[d.Status], d.Code)
	}
	for _, s := range slices.Sorted(maps.Keys(codes)) {
		statuses = append(statuses, status{s, http.StatusText(s), statusMeaning(s), codes[s]})
	}
	return statuses
}

func statusMeaning(status int) string {
	switch meaning, ok := statusMeanings[status]; {
	case ok:
		return meaning
	case status < 500:
		return "There is a problem with the request."
	default:
		return "There is a problem on our side."
	}
}
