# ISOs: fetched, verified, unpacked.
{%- from "netboot/map.jinja" import config, order, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
{%- if config.get('images') %}
{%- if config.deltas %}

# Nothing waits for it: without it whole ISOs are fetched.
netboot-deltas-packages:
  netboot_packages.installed:
    - name: deltas of ISOs
    - pkgs: {{ config.platform.packages.deltas | json }}
    - require:
      - netboot: netboot-config-applied
{%- endif %}

netboot-images-renamed:
  alt_iso.renamed:
    - name: ISOs
    - require:
      - netboot: netboot-config-applied

netboot-images-fetching:
  alt_iso.fetching:
    - name: ISOs
    - require:
      - netboot: netboot-config-applied
      - file: netboot-staging
{%- endif %}
{%- for image in config.get('images', []) %}

netboot-image-{{ image.label }}-fetched:
  alt_iso.fetched:
    - name: {{ image.label }}
    - require:
      - alt_iso: netboot-images-fetching
{%- if config.mirror != 'only' %}

netboot-image-{{ image.label }}-ready:
  alt_image.{{ 'mounted' if image.mount else 'unpacked' }}:
    - name: {{ image.label }}
    - require:
      - netboot: netboot-config-applied
      - alt_iso: netboot-image-{{ image.label }}-fetched

# Clients get it, with its new digests, while the ISOs of other images are still being fetched.
netboot-image-{{ image.label }}-offered:
  netboot_tftp.menus_written:
    - name: menus
    - template: salt://netboot/files/menu.ipxe.jinja
    - grub: salt://netboot/files/grub.cfg.jinja
    - final: false
    - onchanges:
      - alt_image: netboot-image-{{ image.label }}-ready
{%- endif %}
{%- endfor %}
{%- if not problems and opts.get('file_client') == 'remote' and (config.site or config.mirror != 'off') %}

# Other servers take them from here.
netboot-images-shared:
  netboot_mirror.shared:
    - name: ISOs
    - order: {{ order.shared }}
{%- elif not problems and config.site %}

netboot-images-shared:
  test.show_notification:
    - text: netboot:site does nothing without a master, through which servers find each other.
{%- endif %}
{%- if not problems %}

# After the menus, so that these offer nothing that was removed.
netboot-images-pruned:
  alt_image.pruned:
    - name: images
    - remove: {{ config.prune | json }}
    - order: {{ order.pruned }}
    - require:
      - file: netboot-staging
{%- endif %}
