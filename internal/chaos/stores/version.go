package stores

import (
	"database/sql"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/seawall-go/seawall/internal/pgtest"
)

// Version returns the version of a store, such as "Redis 7.0.15". It is empty if the store is not
// installed.
func Version(name string) string {
	switch name {
	case Memory:
		return runtime.Version()
	case Redis, RedisCluster, RedisFailover:
		return numbered("Redis ", "redis-server")
	case PostgreSQL:
		dir, err := pgtest.Installed()
		if err != nil {
			return ""
		}
		return numbered("PostgreSQL ", filepath.Join(dir, "postgres"))
	case SQLite:
		return sqliteVersion()
	}
	return ""
}

var number = regexp.MustCompile(`\d+(\.\d+)+`)

// numbered returns the name and the version that a program says.
func numbered(name, program string) string {
	out, err := exec.Command(program, "--version").Output() //nolint:noctx // it is short
	if err != nil {
		return ""
	}
	return name + number.FindString(string(out))
}

func sqliteVersion() string {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return ""
	}
	defer db.Close()
	var version string
	if err := db.QueryRow("SELECT sqlite_version()").Scan(&version); err != nil { //nolint:noctx // in memory
		return ""
	}
	// The build information of a test has no modules.
	module, err := exec.Command("go", "list", "-m", "modernc.org/sqlite").Output() //nolint:noctx // it is short
	if err != nil {
		return ""
	}
	return "SQLite " + version + " via " + strings.TrimSpace(string(module))
}
