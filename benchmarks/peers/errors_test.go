package peers_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"connectrpc.com/connect"
	"github.com/moogar0880/problems"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// The answer to a request whose parameter is missing. The request has an id already, as it has behind seawall.RequestID.
func rendering() []contender {
	const id = "req_Hd92kLpQ7mXw3TzB"
	return []contender{
		{"seawall", func(tb testing.TB) func() {
			return writing(identified(request(tb, http.MethodPost)), func(w http.ResponseWriter, r *http.Request) {
				apierror.Write(w, r, apierror.ParameterMissing("name"))
			})
		}},
		{"floor", func(tb testing.TB) func() {
			return writing(request(tb, http.MethodPost), func(w http.ResponseWriter, _ *http.Request) { floorError(w, "name", id) })
		}},
		{"json.Encoder", func(tb testing.TB) func() {
			return writing(request(tb, http.MethodPost), func(w http.ResponseWriter, _ *http.Request) {
				h := w.Header()
				h.Set("Content-Type", "application/json")
				h.Set("Cache-Control", "no-store")
				h.Set("X-Content-Type-Options", "nosniff")
				h.Set("Request-Id", id)
				h.Set("X-Request-Id", id)
				h.Set("X-Should-Retry", "false")
				w.WriteHeader(http.StatusBadRequest)
				var e envelope
				e.Error.Type = "invalid_request_error"
				e.Error.Code = "parameter_missing"
				e.Error.Message = "Missing required parameter: " + "name" + "."
				e.Error.Param = "name"
				e.Error.RequestID = id
				if err := json.NewEncoder(w).Encode(&e); err != nil {
					panic(err)
				}
			})
		}},
		{"http.Error", func(tb testing.TB) func() {
			return writing(request(tb, http.MethodPost), func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, "Missing required parameter: name.", http.StatusBadRequest)
			})
		}},
		{"moogar0880", func(tb testing.TB) func() {
			return writing(request(tb, http.MethodPost), func(w http.ResponseWriter, r *http.Request) {
				p := problems.NewDetailedProblem(http.StatusBadRequest, "Missing required parameter: name.")
				problems.ProblemHandler(p)(w, r)
			})
		}},
		{"connect", func(tb testing.TB) func() {
			writer, missing := connect.NewErrorWriter(), errors.New("missing required parameter: name")
			r := request(tb, http.MethodPost)
			r.Header.Set("Content-Type", "application/json")
			return writing(r, func(w http.ResponseWriter, r *http.Request) {
				if err := writer.Write(w, r, connect.NewError(connect.CodeInvalidArgument, missing)); err != nil {
					panic(err)
				}
			})
		}},
	}
}

// floorError is what the answer cannot do without: its six headers, and the text of its body. There is no error value, which
// the log, the metrics and the handler's callers could look at.
func floorError(w http.ResponseWriter, param, id string) {
	h := w.Header()
	values := []string{"application/json", "no-store", "nosniff", id, "false"}
	h["Content-Type"] = values[0:1:1]
	h["Cache-Control"] = values[1:2:2]
	h["X-Content-Type-Options"] = values[2:3:3]
	h["Request-Id"] = values[3:4:4]
	h["X-Request-Id"] = values[3:4:4]
	h["X-Should-Retry"] = values[4:5:5]
	w.WriteHeader(http.StatusBadRequest)
	b := make([]byte, 0, 256)
	b = append(b, `{"error":{"type":"invalid_request_error","code":"parameter_missing","message":"Missing required parameter: `...)
	b = append(b, param...)
	b = append(b, `.","param":"`...)
	b = append(b, param...)
	b = append(b, `","request_id":"`...)
	b = append(b, id...)
	b = append(b, `"}}`...)
	w.Write(b)
}

// envelope is the same object, for encoding/json.
type envelope struct {
	Error struct {
		Type      string `json:"type"`
		Code      string `json:"code"`
		Message   string `json:"message"`
		Param     string `json:"param,omitempty"`
		RequestID string `json:"request_id"`
	} `json:"error"`
}

func writing(r *http.Request, write http.HandlerFunc) func() { return serve(write, r) }

// identified is r as a handler behind seawall.RequestID sees it.
func identified(r *http.Request) (seen *http.Request) {
	keep := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r })
	seawall.RequestID(nil)(keep).ServeHTTP(newDiscard(), r)
	return seen
}

func BenchmarkError(b *testing.B) { compare(b, rendering()) }
