package frameworks_test

import (
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gorilla/mux"
	"github.com/julienschmidt/httprouter"
	echo4 "github.com/labstack/echo/v4"
	echo5 "github.com/labstack/echo/v5"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/examples/frameworks"
)

// net/http removes the files of a form that it has parsed, if the handler gets its request. A Stack
// keeps that so, but some routers serve a copy of the request.
func TestFilesOfUploadsAreLeftByRoutersThatCopyTheRequest(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		left   bool
		router func(upload http.HandlerFunc) http.Handler
	}{
		"ServeMux": {false, func(upload http.HandlerFunc) http.Handler {
			m := http.NewServeMux()
			m.Handle("POST /uploads/{id}", upload)
			return m
		}},
		"chi": {true, func(upload http.HandlerFunc) http.Handler {
			m := chi.NewRouter()
			m.Post("/uploads/{id}", upload)
			return m
		}},
		"gorilla": {true, func(upload http.HandlerFunc) http.Handler {
			m := mux.NewRouter()
			m.Handle("/uploads/{id}", upload)
			return m
		}},
		"httprouter": {true, func(upload http.HandlerFunc) http.Handler {
			m := httprouter.New()
			m.HandlerFunc("POST", "/uploads/:id", upload)
			return m
		}},
		"gin": {false, func(upload http.HandlerFunc) http.Handler {
			m := gin.New()
			m.POST("/uploads/:id", func(c *gin.Context) { upload(c.Writer, c.Request) })
			return m
		}},
		"echo v4": {false, func(upload http.HandlerFunc) http.Handler {
			m := echo4.New()
			m.POST("/uploads/:id", echo4.WrapHandler(upload))
			return m
		}},
		"echo v5": {false, func(upload http.HandlerFunc) http.Handler {
			m := echo5.New()
			m.POST("/uploads/:id", func(c *echo5.Context) error { upload(c.Response(), c.Request()); return nil })
			return m
		}},
	} {
		for _, keyed := range []bool{false, true} {
			var file string
			handler := func(_ *frameworks.Service, stack *seawall.Stack) http.Handler {
				return stack.Handler(row.router(func(w http.ResponseWriter, r *http.Request) {
					if err := r.ParseMultipartForm(1); err == nil {
						file = fileOf(r.MultipartForm)
					}
				}))
			}
			t.Run(fmt.Sprintf("%s, keyed %t", name, keyed), func(t *testing.T) {
				t.Parallel()
				requireHolds(t, handler, func(s *server) {
					r := form(s)
					if keyed {
						r = r.keyed()
					}
					require.Equal(s, http.StatusOK, s.send(r).status)
					s.Close() // waits until net/http is done
					require.NotEmpty(s, file)
					_, err := os.Stat(file)
					require.Equal(s, row.left, err == nil)
					_ = os.Remove(file)
				})
			})
		}
	}
}

// fileOf returns the name of the file that holds the upload, or "" if it is in memory.
func fileOf(form *multipart.Form) string {
	f, err := form.File["file"][0].Open()
	if err != nil {
		return ""
	}
	defer f.Close()
	if onDisk, ok := f.(*os.File); ok {
		return onDisk.Name()
	}
	return ""
}

// form returns a request with a file.
func form(s *server) request {
	var body strings.Builder
	w := multipart.NewWriter(&body)
	part, err := w.CreateFormFile("file", "a.txt")
	require.NoError(s, err)
	_, err = io.WriteString(part, strings.Repeat("x", 10_000))
	require.NoError(s, err)
	require.NoError(s, w.Close())
	r := request{method: http.MethodPost, path: "/uploads/7", body: body.String()}
	return r.with("Content-Type", w.FormDataContentType())
}
