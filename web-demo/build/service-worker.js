// The page's service worker: files of the page without a network, and files of drives. The first one has to listen first.

import './page-files.js'
import 'hypertab/service-worker'
