package lost

import (
	"context"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

func same(w http.ResponseWriter, r *http.Request, err error) { apierror.Write(w, r, err) }

func derived(w http.ResponseWriter, r *http.Request, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	r = r.WithContext(ctx)
	apierror.Write(w, r, err)
}

func keepsValues(w http.ResponseWriter, r *http.Request, err error) {
	apierror.Write(w, r.WithContext(context.WithoutCancel(r.Context())), err)
}

func sub(w http.ResponseWriter, r *http.Request, err error) {
	inner, _ := http.NewRequestWithContext(r.Context(), http.MethodGet, "/", nil)
	apierror.Write(w, inner, err)
}

func outbound(w http.ResponseWriter, r *http.Request) {
	out, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://upstream", nil)
	if err == nil {
		_, err = http.DefaultClient.Do(out)
	}
	apierror.Write(w, r, err)
}

func oneWay(w http.ResponseWriter, r *http.Request, detach bool, err error) {
	if detach {
		r = r.WithContext(context.Background()) // only then
	}
	apierror.Write(w, r, err)
}

func restored(w http.ResponseWriter, r *http.Request, err error) {
	detached := r.WithContext(context.Background())
	detached = detached.WithContext(r.Context())
	apierror.Write(w, detached, err)
}

func copied(w http.ResponseWriter, r *http.Request, err error) {
	r2 := new(http.Request)
	*r2 = *r
	apierror.Write(w, r2, err)
}

func copiedByNew(w http.ResponseWriter, r *http.Request, err error) {
	apierror.Write(w, new(*r), err)
}

func allArguments(arguments func() (http.ResponseWriter, *http.Request, error)) {
	apierror.Write(arguments())
}

func filled(w http.ResponseWriter, r *http.Request, err error) {
	r2 := new(http.Request)
	fill := func() { *r2 = *r }
	fill()
	apierror.Write(w, r2, err)
}

func unknown(w http.ResponseWriter, r *http.Request, wrap func(*http.Request) *http.Request, err error) {
	apierror.Write(w, wrap(r.WithContext(context.Background())), err)
}

func loop(w http.ResponseWriter, r *http.Request, err error) {
	ctx := r.Context()
	for range 3 {
		ctx = context.WithValue(ctx, "key", "value")
	}
	apierror.Write(w, r.WithContext(ctx), err)
}

func ignored(w http.ResponseWriter, r *http.Request, err error) {
	apierror.Write(w, r.WithContext(context.Background()), err) //apierror:ignore the client is gone, and the error is for the log
}
