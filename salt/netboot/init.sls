# A netboot server, all that is enabled in the pillar. Each line can be applied alone.
# The menus come before the images are fetched too, so that services start while an ISO is on its way.
include:
  - netboot.base
  - netboot.firmware
  - netboot.dhcp
  - netboot.http
  - netboot.images
  - netboot.menus
  - netboot.schedule
