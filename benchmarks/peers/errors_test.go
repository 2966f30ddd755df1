package peers_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/go-chi/chi/v5/middleware"
	"github.com/moogar0880/problems"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// requestID is the id that a request has before its error is written.
const requestID = "req_Hd92kLpQ7mXw3TzB"

// refusals answer a request that lacks a parameter, with the parameter's name and the request's id.
var refusals = []struct {
	name string
	http.HandlerFunc
}{
	{"seawall", func(w http.ResponseWriter, r *http.Request) {
		apierror.Write(w, r, apierror.ParameterMissing("name"))
	}},
	{"json", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, r, http.StatusBadRequest, errorObject{
			Type:    "invalid_request_error",
			Code:    "parameter_missing",
			Message: "Missing required parameter: " + "name" + ".",
			Param:   "name",
		})
	}},
	{"problems", writeProblem},
	{"bytes", writeBytes},
}

// problem is a problem of RFC 9457 with the members of the envelope.
type problem struct {
	problems.Problem

	Code      string `json:"code"`
	Param     string `json:"param,omitempty"`
	RequestID string `json:"request_id"`
}

func writeProblem(w http.ResponseWriter, r *http.Request) {
	id := middleware.GetReqID(r.Context())
	p := problem{
		Problem: *problems.NewStatusProblem(http.StatusBadRequest).
			WithDetail("Missing required parameter: " + "name" + "."),
		Code:      "parameter_missing",
		Param:     "name",
		RequestID: id,
	}
	errorHeader(w.Header(), id)
	w.Header().Set("Content-Type", problems.ProblemMediaType)
	w.Header().Set("X-Should-Retry", "false")
	w.WriteHeader(http.StatusBadRequest)
	if err := json.NewEncoder(w).Encode(p); err != nil {
		panic(err)
	}
}

// writeBytes is the lower bound: the header and the bytes of this one error.
func writeBytes(w http.ResponseWriter, r *http.Request) {
	id := middleware.GetReqID(r.Context())
	h := w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Cache-Control"] = []string{"no-store"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["X-Should-Retry"] = []string{"false"}
	h["Request-Id"] = []string{id}
	h["X-Request-Id"] = []string{id}
	w.WriteHeader(http.StatusBadRequest)
	b := make([]byte, 0, 256)
	b = append(b, `{"error":{"type":"invalid_request_error","code":"parameter_missing",`...)
	b = append(b, `"message":"Missing required parameter: name.","param":"name","request_id":"`...)
	b = append(b, id...)
	b = append(b, `"}}`...)
	w.Write(b)
}

// identified returns a request whose context has an id for Seawall and for the other
// sides.
func identified(tb testing.TB) (r *http.Request) {
	r = request(tb, http.MethodPost, "/v1/resources")
	r.Header.Set("X-Request-Id", requestID)
	trusting := &seawall.RequestIDOptions{Inbound: func(*http.Request) bool { return true }}
	keep := http.HandlerFunc(func(_ http.ResponseWriter, identified *http.Request) {
		ctx := context.WithValue(identified.Context(), middleware.RequestIDKey, requestID)
		r = identified.WithContext(ctx)
	})
	answer(seawall.RequestID(trusting)(keep), r)
	return r
}

func BenchmarkError(b *testing.B) {
	var sides []side
	for _, write := range refusals {
		sides = append(sides, side{write.name, func(tb testing.TB) func() {
			return serve(write, identified(tb))
		}})
	}
	compare(b, sides)
}

func TestErrorsAreAlike(t *testing.T) {
	t.Parallel()
	ours := answer(refusals[0], identified(t))
	require.Equal(t, http.StatusBadRequest, ours.Code)
	require.Equal(t, requestID, ours.Header().Get("Request-Id"))
	sameAnswer(t, ours, answer(refusals[1], identified(t)))
	sameAnswer(t, ours, answer(refusals[3], identified(t)))
}

func TestProblemHasTheSameContentAsTheEnvelope(t *testing.T) {
	t.Parallel()
	ours, theirs := answer(refusals[0], identified(t)), answer(refusals[2], identified(t))
	require.Equal(t, ours.Code, theirs.Code)
	require.Equal(t, fields(ours.Header()), fields(theirs.Header()))
	var e envelope
	var p problem
	require.NoError(t, json.Unmarshal(ours.Body.Bytes(), &e))
	require.NoError(t, json.Unmarshal(theirs.Body.Bytes(), &p))
	require.Equal(t, e.Error.Message, p.Detail)
	require.Equal(t, e.Error.Code, p.Code)
	require.Equal(t, e.Error.Param, p.Param)
	require.Equal(t, e.Error.RequestID, p.RequestID)
}
