package frameworks

import (
	"context"
	"errors"
	"mime"
	"net/http"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/examples/frameworks/resourcesapi"
)

// OapiCodegen serves the API with a strict server that github.com/oapi-codegen/oapi-codegen has
// generated from an OpenAPI document. Each of the three hooks gets other errors, and answers with
// http.Error if it is not set.
func OapiCodegen(s *Service, stack *seawall.Stack) http.Handler {
	server := resourcesapi.NewStrictHandlerWithOptions(
		oapiServer{s},
		[]resourcesapi.StrictMiddlewareFunc{s.streamEvents},
		resourcesapi.StrictHTTPServerOptions{
			RequestErrorHandlerFunc: func(w http.ResponseWriter, r *http.Request, err error) { // of decoding the body
				apierror.Write(w, r, OapiBodyError(err))
			},
			ResponseErrorHandlerFunc: apierror.Write, // of the handlers
		},
	)
	return stack.Handler(resourcesapi.HandlerWithOptions(server, resourcesapi.StdHTTPServerOptions{ // a *http.ServeMux
		Middlewares: []resourcesapi.MiddlewareFunc{onlyJSON},
		ErrorHandlerFunc: func(w http.ResponseWriter, r *http.Request, err error) { // of parameters outside the body
			apierror.Write(w, r, OapiParameterError(err))
		},
	}))
}

type oapiServer struct{ *Service }

func (s oapiServer) CreateResource(ctx context.Context, in resourcesapi.CreateResourceRequestObject) (resourcesapi.CreateResourceResponseObject, error) {
	made, err := s.Create(ctx, NewResource{Name: in.Body.Name})
	return resourcesapi.CreateResource201JSONResponse{Id: made.ID, Name: made.Name}, err
}

func (s oapiServer) GetResource(ctx context.Context, in resourcesapi.GetResourceRequestObject) (resourcesapi.GetResourceResponseObject, error) {
	found, err := s.Get(ctx, string(in.Id))
	return resourcesapi.GetResource200JSONResponse{Id: found.ID, Name: found.Name}, err
}

// ListenToEvents is not called: see streamEvents.
func (oapiServer) ListenToEvents(context.Context, resourcesapi.ListenToEventsRequestObject) (resourcesapi.ListenToEventsResponseObject, error) {
	return nil, errors.ErrUnsupported
}

// streamEvents is a middleware that answers the request for events, because a strict handler gets
// neither the ResponseWriter nor the Request.
func (s *Service) streamEvents(next resourcesapi.StrictHandlerFunc, operation string) resourcesapi.StrictHandlerFunc {
	if operation != "ListenToEvents" {
		return next
	}
	return func(_ context.Context, w http.ResponseWriter, r *http.Request, _ any) (any, error) {
		return nil, s.Events(w, r)
	}
}

// onlyJSON refuses bodies of other media types, which the generated code decodes as JSON.
func onlyJSON(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if media != "application/json" && r.ContentLength != 0 {
			apierror.Write(w, r, apierror.UnsupportedMediaType("application/json"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// OapiBodyError returns the error for a body that cannot be decoded. The client is at fault, unless
// err says more.
func OapiBodyError(err error) error {
	return statusError(http.StatusBadRequest, bindingError(err))
}

// OapiParameterError returns the error for a parameter in the path, the query, a header or a
// cookie. The types of err are in the generated file. Their texts may quote the value, so they are
// only the cause.
func OapiParameterError(err error) error {
	if apierror.CodeOf(err) != "" { // of an UnmarshalText method
		return err
	}
	switch e := err.(type) { //nolint:errorlint // the generated code does not wrap them
	case *resourcesapi.RequiredParamError:
		return apierror.ParameterMissing(e.ParamName)
	case *resourcesapi.RequiredHeaderError:
		return apierror.ParameterMissing(e.ParamName)
	case *resourcesapi.InvalidParamFormatError:
		return apierror.ParameterInvalid(e.ParamName, "").WithCause(err)
	case *resourcesapi.UnmarshalingParamError:
		return apierror.ParameterInvalid(e.ParamName, "").WithCause(err)
	case *resourcesapi.UnescapedCookieParamError:
		return apierror.ParameterInvalid(e.ParamName, "").WithCause(err)
	case *resourcesapi.TooManyValuesForParamError:
		return apierror.ParameterInvalid(e.ParamName, "was given more than once")
	}
	return err
}
