package frameworks

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"connectrpc.com/connect"
	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"github.com/seawall-go/seawall/apierror"
)

// Service is the business code. Its zero value is ready to use.
type Service struct {
	mu        sync.Mutex
	resources map[string]Resource // by id
	ids       map[string]string   // by name
	listeners map[chan Resource]bool
}

// Resource is what the API keeps.
type Resource struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// NewResource is the body of a request to create a Resource. The tags are for the validators of
// gin and echo. The other routers rely on Create.
type NewResource struct {
	Name string `json:"name" binding:"required" validate:"required"`
}

// NameTaken is the error for a name that another resource has.
var NameTaken = apierror.Definition{
	Code:    "name_taken",
	Type:    apierror.TypeInvalidRequest,
	Status:  http.StatusConflict,
	Message: "Another resource has this name.",
}

// Create makes a resource, and tells all listeners of Events.
func (s *Service) Create(_ context.Context, in NewResource) (Resource, error) {
	if in.Name == "" {
		return Resource{}, apierror.ParameterMissing("name")
	}
	made := Resource{ID: "res_" + rand.Text(), Name: in.Name}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids[in.Name] != "" {
		return Resource{}, NameTaken.New().WithParam("name")
	}
	if s.resources == nil {
		s.resources, s.ids = make(map[string]Resource), make(map[string]string)
	}
	s.resources[made.ID], s.ids[made.Name] = made, made.ID
	for listener := range s.listeners {
		select {
		case listener <- made:
		default: // it is too slow, and misses this event
		}
	}
	return made, nil
}

// Get fails for these ids, as real code may fail for any.
const (
	IDBroken = "res_broken" // Get returns an error that says nothing to the client
	IDRemote = "res_remote" // Get returns the error of an RPC that has failed
	IDBug    = "res_bug"    // Get panics
	IDAbort  = "res_abort"  // Get panics with http.ErrAbortHandler
	IDSlow   = "res_slow"   // Get waits until the context ends
)

// NameBroken is the name of a resource that Events cannot send.
const NameBroken = "broken"

// Get returns the resource with an id.
func (s *Service) Get(ctx context.Context, id string) (Resource, error) {
	switch id {
	case IDBroken:
		return Resource{}, errors.New("the disk is full")
	case IDRemote:
		return Resource{}, connect.NewWireError(connect.CodeNotFound, errors.New("the disk is not there"))
	case IDBug:
		panic("a bug")
	case IDAbort:
		panic(http.ErrAbortHandler)
	case IDSlow:
		<-ctx.Done()
		return Resource{}, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.resources[id]
	if !ok {
		return Resource{}, apierror.ResourceMissing("resource")
	}
	return found, nil
}

// Events sends each resource that is created, as a server-sent event, or as a message if the
// request asks for a websocket.
func (s *Service) Events(w http.ResponseWriter, r *http.Request) error {
	created, stop := s.listen()
	defer stop()
	if r.Header.Get("Upgrade") != "" {
		return sendMessages(w, r, created)
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	stream := http.NewResponseController(w)
	for {
		if err := stream.Flush(); err != nil {
			return err
		}
		select {
		case <-r.Context().Done(): // the client has gone, or the server shuts down
			return nil
		case made := <-created:
			if made.Name == NameBroken {
				return errors.New("the disk is full")
			}
			event, err := json.Marshal(made)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "event: created\ndata: %s\n\n", event)
		}
	}
}

func sendMessages(w http.ResponseWriter, r *http.Request, created <-chan Resource) error {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return nil //nolint:nilerror // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }()
	ctx := conn.CloseRead(r.Context())
	for {
		select {
		case <-ctx.Done():
			return nil
		case made := <-created:
			if err := wsjson.Write(ctx, conn, made); err != nil {
				return err
			}
		}
	}
}

// listen returns a channel that receives each resource that is created until stop is called.
func (s *Service) listen() (created <-chan Resource, stop func()) {
	listener := make(chan Resource, 16)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listeners == nil {
		s.listeners = make(map[chan Resource]bool)
	}
	s.listeners[listener] = true
	return listener, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, listener)
	}
}
