package memhttp_test

import (
	"fmt"
	"io"
	"net/http"

	"github.com/seawall-go/seawall/internal/memhttp"
)

func Example() {
	s := memhttp.New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
	}))
	defer s.Close()

	resp, err := s.Client().Get(s.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.Status, string(body), err)
	// Output: 200 OK hello <nil>
}
