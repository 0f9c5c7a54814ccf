# Web server for dist/ and tftp/. Existing sites of the machine stay; only Debian's untouched default
# site is disabled.
{%- from "netboot/map.jinja" import config, order, paths, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
  - netboot.ports
{%- if not problems %}
{%- set nginx = config.platform.nginx %}

netboot-http-packages:
  netboot_packages.installed:
    - name: web server
    - pkgs: {{ config.platform.packages.http | json }}

# The web server reads the passwords in it, whatever the umask is.
netboot-http-directory:
  file.directory:
    - name: {{ paths.etc }}
    - user: root
    - group: root
    - mode: '0755'

netboot-http-passwords:
  file.{{ 'managed' if config.menu.password.users else 'absent' }}:
    - name: {{ paths.passwords }}
    {%- if config.menu.password.users %}
    - contents:
      {%- for user, hash in config.menu.password.users | dictsort %}
      - {{ (user ~ ':' ~ hash) | json }}
      {%- endfor %}
    - user: root
    - group: {{ nginx.group }}
    - mode: '0640'
    - show_changes: False
    - require:
      - file: netboot-http-directory
      - netboot_packages: netboot-http-packages
    {%- endif %}

# Who boots what is not for everybody on this machine.
netboot-http-log:
  file.managed:
    - name: {{ config.clients_log }}
    - mode: '0640'
    - replace: False
    - require:
      - netboot_packages: netboot-http-packages

netboot-http-ready:
  netboot_http.site_ready:
    - name: web server
    - require:
      - netboot_packages: netboot-http-packages

netboot-http-site:
  netboot_http.site:
    - name: {{ nginx.directory }}/{{ nginx.site }}
    - source: salt://netboot/files/nginx.conf.jinja
    - require:
      - netboot_packages: netboot-http-packages
      - file: netboot-http-directory
      - file: netboot-http-passwords
      - file: netboot-http-log
      - netboot_http: netboot-http-ready

netboot-http-service:
  netboot_service.current:
    - name: {{ nginx.service }}
    - files: [{{ nginx.directory }}/{{ nginx.site }}]
    - reload: true
    - require:
      - netboot_http: netboot-http-site

# As soon as it runs, and again when the images are ready.
{%- for state, when in [('netboot-http-answers', none), ('netboot-http-complete', order.complete)] %}

{{ state }}:
  netboot_http.answers:
    - name: web server
    {%- if not when %}
    - final: false
    {%- else %}
    - order: {{ when }}
    {%- endif %}
    - require:
      - netboot_service: netboot-http-service
{%- endfor %}
{%- endif %}
