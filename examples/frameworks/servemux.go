package frameworks

import (
	"encoding/json"
	"net/http"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// ServeMux serves the API with net/http alone. It needs no settings: the Stack knows the mux.
func ServeMux(s *Service, stack *seawall.Stack) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/resources", apierror.HandlerFunc(s.create))
	mux.Handle("GET /v1/resources/{id}", apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return s.get(w, r, r.PathValue("id"))
	}))
	mux.Handle("GET /v1/events", apierror.HandlerFunc(s.Events))
	return stack.Handler(mux)
}

// create is the handler for the routers that take an http.Handler.
func (s *Service) create(w http.ResponseWriter, r *http.Request) error {
	var in NewResource
	if err := apierror.DecodeJSON(w, r, &in, nil); err != nil {
		return err
	}
	made, err := s.Create(r.Context(), in)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, made)
}

// get is the handler for the same routers. Each of them has its own way to find the id.
func (s *Service) get(w http.ResponseWriter, r *http.Request, id string) error {
	found, err := s.Get(r.Context(), id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, found)
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(v)
}
