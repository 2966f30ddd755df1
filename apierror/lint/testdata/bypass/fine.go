package bypass

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"example.com/shop/web"

	"github.com/seawall-go/seawall/apierror"
)

// WriteHeader passes a status on, and corrects one that net/http would refuse.
func (s *statusRecorder) WriteHeader(status int) {
	if status == 0 {
		s.ResponseWriter.WriteHeader(http.StatusInternalServerError)
		return
	}
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// fail is a method of a ResponseWriter too.
func (s *statusRecorder) fail() { http.Error(s.ResponseWriter, "failed", http.StatusBadGateway) }

func proxy(w http.ResponseWriter, resp *http.Response) {
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

func successes(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		w.WriteHeader(http.StatusCreated)
	case http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	case http.MethodGet:
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusNotModified)
	case http.MethodHead:
		http.Redirect(w, r, "/", http.StatusFound)
	default:
		http.Error(w, "this is fine", http.StatusOK)
	}
}

func variable(w http.ResponseWriter, healthy bool) {
	status := http.StatusOK
	if !healthy {
		status = http.StatusServiceUnavailable
	}
	w.WriteHeader(status)
}

func throughOtherFunctions(w http.ResponseWriter, status int) {
	web.Reply(w, http.StatusCreated, "order")
	web.Text(w, "order", status)
	(&web.Recorder{ResponseWriter: w}).Record(500)
}

// response is no ResponseWriter, although it has a method of that name.
type response struct{ code int }

func (r *response) WriteHeader(code int) { r.code = code }

func others(logger *log.Logger) {
	new(response).WriteHeader(500)
	httptest.NewRecorder().WriteHeader(500) // a response that no client gets
	Error(nil, "", 500)
	logger.Print(http.StatusText(http.StatusNotFound), http.StatusInternalServerError)
}

// Error has the name of a function of net/http.
func Error(http.ResponseWriter, string, int) {}

func ignored(w http.ResponseWriter) {
	//apierror:ignore a load balancer asks, and reads only the status
	w.WriteHeader(503)
	w.WriteHeader(503) //apierror:ignore a load balancer asks, and reads only the status
}

func catalog(w http.ResponseWriter, r *http.Request) {
	apierror.Write(w, r, apierror.CodeResourceMissing)
}
