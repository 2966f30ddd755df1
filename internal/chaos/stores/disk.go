package stores

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// diskSize is how much a disk holds while it is not full. It takes memory only for its files.
const diskSize = 4 << 30

// A disk is a file system that can become full.
type disk struct{ dir string }

// newDisk returns an empty disk of the user nobody, as whom PostgreSQL runs, until the test ends or
// its process dies. It returns nil if this process may not mount one.
func newDisk(tb testing.TB) *disk {
	tb.Helper()
	nobody, err := user.Lookup("nobody")
	must(tb, err)
	// Another user must not need to enter the folders of tb.TempDir.
	dir, err := os.MkdirTemp("", "disk") //nolint:usetesting // see above
	must(tb, err)
	must(tb, os.Chmod(dir, 0o755)) //nolint:gosec // see above
	data := fmt.Sprintf("size=%d,mode=0700,uid=%s,gid=%s", diskSize, nobody.Uid, nobody.Gid)
	if err := unix.Mount("chaos", dir, "tmpfs", 0, data); err != nil {
		_ = os.Remove(dir)
		return nil
	}
	// Its standard input ends with this process, also if that is killed.
	remove := exec.Command("sh", "-c", `cat; umount -l "$0" && rmdir "$0"`, dir) //nolint:gosec,noctx // it ends with the test
	remove.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}                     // an interrupt from the terminal is not for it
	stdin, err := remove.StdinPipe()
	must(tb, err)
	must(tb, remove.Start())
	tb.Cleanup(func() {
		_ = stdin.Close()
		must(tb, remove.Wait())
	})
	return &disk{dir}
}

// inMemory returns tb with a TempDir on an empty disk, if this process may mount one. The disk of
// the machine can take a second for an fsync, which is a fault that nobody has planned.
func inMemory(tb testing.TB) testing.TB {
	tb.Helper()
	if d := newDisk(tb); d != nil {
		return onDisk{tb, d}
	}
	return tb
}

// onDisk is a test that has its files on a disk.
type onDisk struct {
	testing.TB

	disk *disk
}

// TempDir returns a new folder on the disk.
func (t onDisk) TempDir() string {
	t.Helper()
	dir, err := os.MkdirTemp(t.disk.dir, "data")
	must(t, err)
	return dir
}

// fill leaves room for a few pages.
func (d *disk) fill() error {
	var err error
	for range 10 { // it fails if more is in use by now
		var s unix.Statfs_t
		if err := unix.Statfs(d.dir, &s); err != nil {
			return err
		}
		used := int64(s.Blocks-s.Bfree) * s.Bsize
		if err = d.resize(used + 64<<10); !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	return err
}

// clear ends fill.
func (d *disk) clear() error { return d.resize(diskSize) }

func (d *disk) resize(size int64) error {
	return unix.Mount("", d.dir, "", unix.MS_REMOUNT, fmt.Sprintf("size=%d", size))
}
