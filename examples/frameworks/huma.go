package frameworks

import (
	"context"
	"net/http"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// Huma serves the API with github.com/danielgtaylor/huma on a http.ServeMux. Handlers return
// errors of package apierror, or any other errors.
func Huma(s *Service, stack *seawall.Stack) http.Handler {
	config := huma.DefaultConfig("Resources", "1.0.0")
	config.CreateHooks = nil // otherwise each response has the additional member $schema
	mux := http.NewServeMux()
	api := NewHumaAPI(mux, config)
	huma.Post(api, "/v1/resources", func(ctx context.Context, in *struct{ Body NewResource }) (*humaResource, error) {
		made, err := s.Create(ctx, in.Body)
		return &humaResource{made}, err
	}, func(op *huma.Operation) {
		op.DefaultStatus = http.StatusCreated
		op.MaxBodyBytes = -1 // the Stack has a limit; that of huma would be 1 MiB
	})
	huma.Get(api, "/v1/resources/{id}", func(ctx context.Context, in *humaID) (*humaResource, error) {
		found, err := s.Get(ctx, in.ID)
		return &humaResource{found}, err
	})
	huma.Get(api, "/v1/events", func(context.Context, *struct{}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			apierror.HandlerFunc(s.Events).ServeHTTP(w, r)
		}}, nil
	})
	return stack.Handler(mux)
}

// NewHumaAPI returns an API of huma on mux that sends its errors as error objects.
func NewHumaAPI(mux *http.ServeMux, config huma.Config) huma.API {
	useHumaErrors()
	config.Transformers = append(config.Transformers, sendHumaError)
	api := humago.New(mux, config)
	api.UseMiddleware(answerOnce)
	return api
}

type humaID struct {
	ID string `path:"id"`
}

type humaResource struct{ Body Resource }

// useHumaErrors makes huma keep the errors that handlers return. Its own error type keeps only
// their texts, and sends them to the client. huma.NewError is a variable of the whole process, so
// set it before the first request.
var useHumaErrors = sync.OnceFunc(func() {
	huma.NewError = func(status int, message string, causes ...error) huma.StatusError { //nolint:reassign // it is there for that
		return &humaError{status, message, causes}
	}
})

// answerOnce is a middleware of huma. It comes first, because it replaces the context.
func answerOnce(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	next(humago.NewContext(ctx.Operation(), r, &humaWriter{ResponseWriter: w}))
}

// sendHumaError is called for everything that huma sends. It sends errors itself, because huma has
// already chosen a status, such as 422.
func sendHumaError(ctx huma.Context, _ string, v any) (any, error) {
	if e, ok := v.(*humaError); ok && e.status >= 400 {
		r, w := humago.Unwrap(ctx)
		answer := w.(*humaWriter)
		apierror.Write(answer.ResponseWriter, r, e.apiError(ctx.Operation()))
		answer.done = true
	}
	return v, nil
}

// humaWriter discards what huma writes after an error was sent.
type humaWriter struct {
	http.ResponseWriter

	done bool
}

// Unwrap lets streams find the methods of the writer inside.
func (w *humaWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *humaWriter) WriteHeader(status int) {
	if !w.done {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *humaWriter) Write(p []byte) (int, error) {
	if w.done {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}
