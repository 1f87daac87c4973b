#!/bin/sh
# Builds roost_VERSION_ARCH.deb: `npm run deb [-- FOLDER]`. The folder for the package is `.` if none is given.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$(cd "${1:-.}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root/DEBIAN" "$root/usr/lib" "$root/usr/bin" "$root/usr/share/doc" "$root/etc/roost" "$root/lib/systemd/system"
chmod 755 "$work" "$root"
"$here/../stage.sh" "$root/usr/lib/roost"
mkdir -p "$root/usr/share/doc/roost"
mv "$root/usr/lib/roost/docs" "$root/usr/lib/roost/README.md" "$root/usr/lib/roost/CHANGELOG.md" "$root/usr/share/doc/roost"
cp "$root/usr/lib/roost/LICENSE" "$root/usr/share/doc/roost/copyright"
ln -s ../lib/roost/dist/main.js "$root/usr/bin/roost"
cp "$here/../systemd/roost.service" "$root/lib/systemd/system"
cp "$here/roost.yaml" "$root/etc/roost"
echo /etc/roost/roost.yaml > "$root/DEBIAN/conffiles"
cp "$here/postinst" "$here/prerm" "$here/postrm" "$root/DEBIAN"
chmod 755 "$root"/DEBIAN/p*
version=$(node -p "require('$root/usr/lib/roost/package.json').version")
architecture=$(dpkg --print-architecture)
cat > "$root/DEBIAN/control" <<CONTROL
Package: roost
Version: $version
Architecture: $architecture
Maintainer: Roost <roost@localhost>
Depends: nodejs (>= 20.19), adduser
Section: net
Priority: optional
Installed-Size: $(du -sk "$root/usr" | cut -f1)
Description: MQTT broker and MQTT-SN gateway in one process
 Battery sensors that sleep most of their lives speak MQTT-SN over UDP or serial lines;
 TCP clients speak MQTT 3.1 to 5.0 to the same broker. Acknowledged means on disk.
CONTROL
chmod -R u+rwX,go+rX,go-w "$root"
dpkg-deb --root-owner-group -Zxz -z1 --build "$root" "$out/roost_${version}_$architecture.deb"
