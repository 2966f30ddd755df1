package service

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
)

// serveArm arms a failpoint.
func (s *server) serveArm(w http.ResponseWriter, r *http.Request) {
	var a Arm
	if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fits := false
	for _, way := range ways {
		fits = fits || (a.Way == "" || a.Way == way) && isPossible(a, way)
	}
	if !fits || !a.Suits(s.config.Store) || a.Way.Transactional() && s.db == nil {
		http.Error(w, fmt.Sprintf("%+v makes no sense with %s", a, s.config.Store), http.StatusBadRequest)
		return
	}
	s.f.arm(a)
	w.WriteHeader(http.StatusNoContent)
}

// serveDisarm removes all arms.
func (s *server) serveDisarm(w http.ResponseWriter, _ *http.Request) {
	s.f.disarm()
	w.WriteHeader(http.StatusNoContent)
}

// serveVitals tells what the process uses.
func (s *server) serveVitals(w http.ResponseWriter, _ *http.Request) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	reply(w, http.StatusOK, Vitals{
		Goroutines: runtime.NumGoroutine(), HeapBytes: m.HeapAlloc, Files: len(files), Armed: s.f.armed(),
	})
}
